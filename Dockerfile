# One image for every service of docker-compose.yml; the command says which.
FROM node:22-bookworm-slim AS page
WORKDIR /page
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.12-slim-bookworm
RUN useradd --create-home --uid 10001 qingniao
WORKDIR /app
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
COPY --from=page /page/dist web/dist
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index -e . \
    && mkdir -p /data && chown qingniao /data
USER qingniao
ENV QINGNIAO_DATA_DIR=/data NUMBA_CACHE_DIR=/data/numba PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["qingniao"]
CMD ["run", "api"]
