# `topa serve` in a container, on the micro model unless one is mounted:
#   docker build -t topa .
#   docker run --rm -p 127.0.0.1:8000:8000 topa
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/my-model:/model:ro" -e TOPA_TOKENS=... topa --model /model
# With a GPU: --build-arg INDEX=https://download.pytorch.org/whl/cu126, and docker run --gpus all.

FROM python:3.11-slim AS build
ARG INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /venv/bin/pip install --no-cache-dir --extra-index-url "$INDEX" ".[serve]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 topa
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    TOPA_CACHE=/home/topa/cache \
    HF_HOME=/home/topa/cache/huggingface \
    PYTHONDONTWRITEBYTECODE=1
USER topa
WORKDIR /home/topa
# The micro model is aligned now, so that a container answers as soon as it runs.
RUN python -c "from topa.training.pretrained import default_model; default_model(show=False)"
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["topa", "serve", "--host", "0.0.0.0"]
