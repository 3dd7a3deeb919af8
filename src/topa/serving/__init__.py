"""An aligned model over HTTP: an API that OpenAI's clients speak, what chat can't express, and a page."""
