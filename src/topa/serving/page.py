"""The page: one HTML document that talks to the API of the server that it comes from, and to nothing else.

Reads the resources beside this module and the house's style sheet; gives the text and its Content-Security-Policy.
"""

from __future__ import annotations

from functools import cache

from ..core.pages import hash_source, resource


@cache
def page() -> tuple[str, str]:
    """The document, and the value of its Content-Security-Policy header: only its own script and style may run, and
    it reaches no other host."""
    style = resource("topa.core", "page.css") + resource(__package__, "page.css")
    script = resource(__package__, "page.js")
    html = resource(__package__, "page.html").replace("{style}", style).replace("{script}", script)
    policy = (
        "default-src 'none'",
        f"script-src {hash_source(script)}",
        f"style-src {hash_source(style)}",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return html, "; ".join(policy)
