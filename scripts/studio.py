"""A page on this computer: type a sentence, see the motion in 3D, change it with the next one, take it as a file.

    python scripts/studio.py                        # then open the address it prints
    python scripts/studio.py --open                 # opens the browser itself
    python scripts/studio.py --run outputs/run --stage 3 --device cuda
    python scripts/studio.py --port 0               # any free port

Ctrl-C ends it; what was not downloaded is gone then. Only this computer can reach it: there is no password, so no
other computer may. From another one: ssh -L 8765:127.0.0.1:8765 THIS_COMPUTER, then http://127.0.0.1:8765/ there.
Without --run it samples from outputs/run if that exists, else from the shipped demo.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the
folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a run from the Hub).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# before torch is imported: threads that spin while they wait cost seconds if another program has a core
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import say_unread_environment
from motiongpt.cli.opening import add_tokenizer_flags, open_generator
from motiongpt.cli.parser import Parser, run_script

PORT = 8765


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    # 1) which run
    add("--run", help="run folder, stage folder or Hub repo id (default: outputs/run, else the demo)")
    add("--stage", type=int, help="stage to sample from (default: the highest finished one that was trained on t2m)")
    add("--reader", help="stage folder of another run that reads sentences as plain captions (default: the run's own)")
    add_tokenizer_flags(parser, "tokenizer folder (default: the run's own)")
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    precision = "precision of the model's weights; a seed's motion depends on it (default: bf16 on CUDA GPUs of "
    add("--precision", choices=("fp32", "bf16"), help=f"{precision}compute capability 8.0 or newer, else fp32)")
    # 2) where the page is
    add("--port", type=int, default=PORT, help=f"port of the page, 0 for any free one (default: {PORT})")
    add("--host", default="127.0.0.1", help="127.0.0.1, localhost or ::1, which only this computer can reach "
        "(default: 127.0.0.1)")  # fmt: skip
    add("--open", action="store_true", help="open the page in the browser")
    return parser


def main(args) -> None:
    from motiongpt.studio.server import StudioServer

    say_unread_environment()
    with StudioServer(args.host, args.port) as server:  # a port in use shows before a model is loaded
        generator = open_generator(args, ROOT / "checkpoints" / "demo", "t2m", args.precision, args.device)
        serve(server, generator, args.open)


def serve(server, generator, opens: bool) -> None:
    """Answer requests until Ctrl-C."""
    import threading
    import webbrowser

    from motiongpt.studio.maker import Maker
    from motiongpt.studio.studio import Studio

    name = f"{generator.run.folder.resolve().name}, stage {generator.run.stage}"
    server.studio = Studio(Maker(generator, name))
    print(f"studio: {server.url}  (Ctrl-C ends it)", flush=True)
    if opens:  # a browser in the terminal would not return
        threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        server.studio.stop()


if __name__ == "__main__":
    run_script(main, make_parser())
