"""Download Chart.js to where the pages load it; part of `make install`.

It is not in git. It comes from npm at the version and hash of package-lock.json, or, where there is no npm,
from a Python package at the hash of requirements/assets.txt. This program uses the standard library only.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "tds_new/static/tds_new/vendor/chart.umd.js"
IN_NPM = "node_modules/chart.js/dist/chart.umd.js"
IN_WHEEL = "unfold/static/unfold/js/chart/chart.js"
VERSION = re.compile(r'Chart\.js v(4\.\d+\.\d+)|static version="(4\.\d+\.\d+)"')


def from_npm() -> str | None:
    """Return the library's text by npm; None if npm is missing or fails."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / name, folder)
        done = subprocess.run(
            [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            last_words = " / ".join(done.stderr.strip().splitlines()[-2:])
            print(f"[WARN] npm ci failed, so Chart.js comes from PyPI: {last_words}")
            return None
        return (Path(folder) / IN_NPM).read_text(encoding="utf-8")


def from_wheel() -> str:
    """Return the library's text from a wheel.

    Raises CalledProcessError if pip fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "--dest", folder]
        subprocess.run([*pip, *options, "--requirement", str(ROOT / "requirements/assets.txt")], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(IN_WHEEL).decode("utf-8")


def main() -> int:
    """Write the file and return the exit status.

    It is 1 where the download is not Chart.js 4.
    """
    text = from_npm() or from_wheel()
    version = VERSION.search(text)
    if version is None:
        print("[ERROR] what came is not Chart.js 4")
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    draft = TARGET.with_suffix(".new")
    # The source map is not shipped, and a name of a file that is not there stops collectstatic.
    draft.write_text(re.sub(r"(?m)^//# sourceMappingURL=.*\n?", "", text), encoding="utf-8")
    draft.replace(TARGET)
    print(f"[OK] Chart.js {version[1] or version[2]} in {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
