"""The config of the verb `serve`."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UsageError
from ..core.verbs import VerbConfig, option
from ..inference.verbs import MODEL

TOKENS = "TOPA_TOKENS"
"""Variable of the environment with tokens, separated by commas."""


class ServeConfig(VerbConfig):
    """Serve a model over HTTP: a page for people, and an API that OpenAI's clients speak. See docs/serving.md.

    Example:  topa serve --library kitchen-library --port 8080
    """

    model: str | None = option(MODEL, default=None)
    library: Path | None = option("A library, from topa index, to search and ask about.", default=None)
    host: str = option("Address to listen on. Default: this machine alone.", default="127.0.0.1")
    port: int = option("Port; 0 takes a free one.", min=0, max=65535, default=8000)
    name: str | None = option("What clients call the model. Default: its folder's name, or micro.", default=None)
    token_file: Path | None = option(f"A bearer token a line; only they may ask. Or set {TOKENS}.", default=None)
    allow_origin: tuple[str, ...] = option("Pages of this origin may ask, too: https://example.org.", default=())
    allow_urls: bool = option("Fetch videos from http(s) addresses that requests name.", default=False)
    allow_private: bool = option("With --allow-urls: also from private and loopback addresses.", default=False)
    batch: int = option("Requests that the model answers together; 1 serves one by one.", min=1, default=64)
    decoders: int = option("Processes that decode videos.", min=1, default=2)
    threads: int | None = option("Threads of the model. Default: all cores but one.", min=1, default=None)
    max_upload: float = option("Megabytes of a video.", min=0.001, default=200)
    max_seconds: float = option("Seconds of a video.", min=0.001, default=3600)
    max_pixels: float = option("Millions of pixels of a picture of a video.", min=0.001, default=9.5)
    max_waiting: int = option("Requests at work at a time; more are told to come back.", min=1, default=128)
    max_tokens: int = option("Tokens of an answer.", min=1, default=512)
    log_requests: bool = option("Write a line for each request.", default=False)
    open_page: bool = option("Open the page in a browser.", flag="--open", default=False)

    def __post_init__(self) -> None:
        """Raise UsageError for what means nothing by itself."""
        super().__post_init__()
        if self.allow_private and not self.allow_urls:
            raise UsageError("--allow-private: means nothing without --allow-urls. Give both, or neither.")
