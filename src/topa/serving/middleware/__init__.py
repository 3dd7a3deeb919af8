"""What every request passes before the API: ASGI middleware, one concern each."""
