"""React for a page without a bundler: npm's packages, each as a module."""

import re

import pytest

from tests.browser.browsing import REPOSITORY

PACKAGES = REPOSITORY / "clients/js/node_modules"
MISSING = "The tests of the React hook need npm, and what `make clients/js/node_modules/.installed` installs."
MODULES = {
    "react": ("react/cjs/react.development.js", "StrictMode act createElement useCallback useEffect useRef useState"),
    "scheduler": ("scheduler/cjs/scheduler.development.js", ""),
    "react-dom": ("react-dom/cjs/react-dom.development.js", ""),
    "react-dom/client": ("react-dom/cjs/react-dom-client.development.js", "createRoot"),
}


def address(name: str) -> str:
    """Where a page finds a package."""
    return f"/npm/{name}.js"


def module(name: str) -> str:
    """A package of CommonJS as a module: what it requires is imported first."""
    file, exported = MODULES[name]
    if not (PACKAGES / file).exists():
        pytest.fail(MISSING, pytrace=False)
    text = (PACKAGES / file).read_text()
    required = sorted(set(re.findall(r'require\("([\w/-]+)"\)', text)))
    imports = "".join(f'import m{number} from "{address(other)}";\n' for number, other in enumerate(required))
    table = ", ".join(f'"{other}": m{number}' for number, other in enumerate(required))
    names = ", ".join(exported.split())
    return f"""{imports}
const module = {{ exports: {{}} }};
(function (module, exports, require, process) {{
{text}
}})(module, module.exports, (name) => ({{ {table} }})[name], {{ env: {{ NODE_ENV: "development" }} }});
export default module.exports;
export const {{ {names} }} = module.exports;
"""
