"""nginx as a peer: answering polls itself by Lua and Redis, or keeping another's answers for a second."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from bench.stack import API_KEY, Site
from readside.demo.processes import free_port

LUA_PACKAGES = "nginx libnginx-mod-http-lua lua-nginx-redis"
_MODULES = [Path("/usr/lib/nginx/modules") / f"{name}.so" for name in ("ndk_http_module", "ngx_http_lua_module")]
# Where Debian puts lua-resty-redis; its package has been named both ways.
_CLIENTS = {"nginx.redis": "/usr/share/lua/5.1/nginx/redis.lua", "resty.redis": "/usr/share/lua/5.1/resty/redis.lua"}
_CONFIGURATION = Template(
    """
$modules
$user
worker_processes $workers;
pcre_jit on;
daemon off;
pid $directory/nginx.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  client_body_temp_path $directory/body;
  proxy_temp_path $directory/proxy;
  fastcgi_temp_path $directory/fastcgi;
  uwsgi_temp_path $directory/uwsgi;
  scgi_temp_path $directory/scgi;
  $settings
  server {
    listen 127.0.0.1:$port backlog=4096;
    location = /ready { return 200; }
    $location
  }
}
"""
)
_LUA_LOCATION = r"""
    location ~ "^/api/v2/sessions/(?<session>[0-9a-f-]{36})/events$" {
      default_type application/json;
      content_by_lua_file %s;
    }
"""
_CACHE_SETTINGS = """
  proxy_cache_path %s/cache keys_zone=polls:10m max_size=256m use_temp_path=off;
  open_file_cache max=1024 inactive=60s;
  %s
  upstream app { server 127.0.0.1:%d; keepalive 64; }
"""
LONG_BYTES = 16_384
"""Longer answers go by sendfile: at 47 kB that gives half as many polls again, at 150 bytes a fifth fewer."""
# One request at a time fetches what is not kept, or is too old; meanwhile the others have the old one, as nginx's
# makers advise. Without it they would wait in steps of half a second.
_CACHE_LOCATION = """
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache polls;
      proxy_cache_key $request_uri;
      proxy_cache_valid 200 1s;
      proxy_cache_lock on;
      proxy_cache_use_stale updating;
    }
"""


def program() -> str | None:
    """Find nginx; outside root's PATH it lies in /usr/sbin."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def missing_for_lua() -> str:
    """Say what has to be installed for Lua and Redis, or ""."""
    if program() and all(module.exists() for module in _MODULES) and _client():
        return ""
    return f"not installed (Debian: apt install {LUA_PACKAGES})"


def missing() -> str:
    """Say what has to be installed for nginx alone, or ""."""
    return "" if program() else "not installed (Debian: apt install nginx)"


@asynccontextmanager
async def lua(site: Site, *, workers: int) -> AsyncIterator[int]:
    """Run nginx that answers polls from the plain sorted sets; gives its port."""
    redis = urlsplit(site.plain_url)
    script = site.directory / f"poll-{workers}.lua"
    text = Template((Path(__file__).parent / "poll.lua").read_text(encoding="utf-8"))
    script.write_text(
        text.substitute(
            api_key=API_KEY,
            client=_client(),
            redis_port=redis.port,
            redis_password=redis.password,
            redis_database=redis.path.removeprefix("/"),
        ),
        encoding="utf-8",
    )
    settings = 'lua_package_path "/usr/share/lua/5.1/?.lua;;";'
    modules = "\n".join(f"load_module {module};" for module in _MODULES)
    async with _nginx(site, f"nginx-lua-{workers}", workers, settings, _LUA_LOCATION % script, modules) as port:
        yield port


@asynccontextmanager
async def micro_cache(site: Site, upstream: int, answer_bytes: int) -> AsyncIterator[int]:
    """Run nginx that keeps the answers of the app on `upstream` for a second, whatever key asks; gives its port.

    It is set up for answers that are so long.
    """
    sending = "sendfile on; tcp_nopush on;" if answer_bytes >= LONG_BYTES else "sendfile off;"
    settings = _CACHE_SETTINGS % (site.directory / "nginx-cache", sending, upstream)
    async with _nginx(site, "nginx-cache", 1, settings, _CACHE_LOCATION, "") as port:
        yield port


@asynccontextmanager
async def _nginx(site: Site, name: str, workers: int, settings: str, location: str, modules: str) -> AsyncIterator[int]:
    port, directory = free_port(), site.directory / name
    directory.mkdir(exist_ok=True)
    path = directory / "nginx.conf"
    path.write_text(
        _CONFIGURATION.substitute(
            modules=modules,
            user="user root;" if os.geteuid() == 0 else "",
            workers=workers,
            directory=directory,
            port=port,
            settings=settings,
            location=location,
        ),
        encoding="utf-8",
    )
    command = [str(program()), "-p", str(directory), "-c", str(path), "-e", "stderr"]
    async with site.server(f"{name} {port}", command, port):
        yield port


def _client() -> str | None:
    return next((module for module, path in _CLIENTS.items() if Path(path).exists()), None)
