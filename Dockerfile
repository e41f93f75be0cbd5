# The image of every readside process: `readside api`, `readside projector`, `readside install`. It holds no key and no
# password. Its base is pinned by the digest of what Docker's own list gave for the tag, all platforms; to renew it:
#   docker buildx imagetools inspect python:3.11-slim-bookworm

FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/readside
WORKDIR /source
# The libraries first: they change less often than the code.
COPY deploy/requirements.lock deploy/
RUN /opt/readside/bin/pip install --no-deps --require-hashes -r deploy/requirements.lock
COPY pyproject.toml LICENSE ./
COPY readmodel readmodel
COPY projector projector
COPY query_api query_api
COPY readside readside
RUN /opt/readside/bin/pip install --no-deps --no-build-isolation . \
 && /opt/readside/bin/pip check \
 && /opt/readside/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b
RUN useradd --system --uid 10001 --no-create-home readside
COPY --from=build /opt/readside /opt/readside
ENV PATH=/opt/readside/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can tell that it is not root.
USER 10001
EXPOSE 8000
ENTRYPOINT ["readside"]
CMD ["api", "--host", "0.0.0.0"]
