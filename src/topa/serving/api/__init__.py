"""The HTTP API: one router for each topic. Requests become calls of the service, its values views of `schemas`."""
