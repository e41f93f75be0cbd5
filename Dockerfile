# The image of every readside process: `readside api`, `readside projector`, `readside install`. It holds no key and no
# password. Its base is pinned by the digest of what Docker's own list gave for the tag, all platforms; to renew it:
#   docker buildx imagetools inspect python:3.11-slim-bookworm

FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/readside
WORKDIR /source
# The libraries first: they change less often than the code.
COPY deploy/build.lock deploy/requirements.lock deploy/
RUN pip install --no-deps --require-hashes -r deploy/build.lock \
 && pip --python /opt/readside/bin/python install --no-deps --require-hashes -r deploy/requirements.lock
COPY pyproject.toml LICENSE ./
COPY readmodel readmodel
COPY projector projector
COPY query_api query_api
# query_api/console/client leads there: what the console is made of is what npm carries.
COPY clients/js/src clients/js/src
COPY readside readside
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/readside/bin/python install --no-deps --no-index dist/*.whl \
 && pip --python /opt/readside/bin/python check

FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b
# Nothing that installs or builds stays in reach.
RUN pip uninstall --yes --root-user-action=ignore setuptools wheel pip \
 && useradd --system --uid 10001 --no-create-home readside
COPY --from=build /opt/readside /opt/readside
ENV PATH=/opt/readside/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can tell that it is not root.
USER 10001
EXPOSE 8000
# The API's own port; a projector's where it has one. What listens elsewhere says so with --health-cmd; what listens nowhere,
# such as a projector without READSIDE_PROJECTOR_PORT, says --no-healthcheck. A proxy of the machine's is not asked.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as u; \
u.build_opener(u.ProxyHandler({})).open(\
'http://127.0.0.1:' + os.environ.get('READSIDE_PROJECTOR_PORT', '8000') + '/health/live', timeout=2)"]
ENTRYPOINT ["readside"]
CMD ["api", "--host", "0.0.0.0"]
