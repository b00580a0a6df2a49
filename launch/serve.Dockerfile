# A run behind HTTP, in a container. Build in the clone's root, with the run beside it:
#   docker build -f launch/serve.Dockerfile --build-arg RUN=runs/quickstart -t u2a-serve .
#   docker run --rm -p 8000:8000 -e U2A_SERVE_TOKEN=... u2a-serve
# Never built: there was no Docker where it was written. docs/serving.md says which of its lines were run by hand.
FROM python:3.11-slim

# Each thread that reads files would else keep memory of its own.
ENV MALLOC_ARENA_MAX=2 PIP_NO_CACHE_DIR=1 HF_HUB_OFFLINE=1

WORKDIR /u2a
COPY pyproject.toml README.md LICENSE ./
COPY u2a u2a
COPY plugins plugins
COPY recipes recipes
# Without a GPU, the CPU's torch is a tenth of the size; a local version (+cpu) goes before the same one of PyPI.
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu ".[serve]"

ARG RUN
COPY ${RUN} /run-folder
RUN useradd --no-create-home u2a
USER u2a

EXPOSE 8000
HEALTHCHECK --start-period=120s CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready')"
# Not through a shell: SIGTERM must reach the service, which then finishes what it has begun.
ENTRYPOINT ["u2a", "serve", "/run-folder", "--host", "0.0.0.0"]
