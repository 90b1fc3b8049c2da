"""A training as TensorBoard shows it: the numbers of metrics.jsonl as scalars, and samples as moving pictures.

    tensorboard --logdir logs

The package `tensorboard` is an extra (`pip install "motiongpt[log]"`), and is imported when a training asks for it.
"""

import struct
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from motiongpt.training.watch import Watcher

TOKENIZER_TAGS = {
    "reconstruction": "reconstruction_loss",
    "commitment": "commit_loss",
    "val_reconstruction": "val_reconstruction_loss",
    "val_commitment": "val_commit_loss",
    "val_mpjpe_mm": "motion_reconstruction",
}
"""Name in metrics.jsonl -> tag, where they differ, for a motion tokenizer."""

LANGUAGE_TAGS = {
    "loss": "language_model_loss",
    "val_loss": "val_language_model_loss",
    "val_mpjpe_mm": "motion_reconstruction",
}
"""The same for a language model, whose tasks have tags such as loss/t2m and val_loss/t2m besides."""


def language_tags(tasks: Mapping[str, float]) -> dict[str, str]:
    """`LANGUAGE_TAGS` with the loss of each task."""
    by_task = {f"{start}{task}": f"{start}loss/{task}" for task in tasks for start in ("", "val_")}
    return LANGUAGE_TAGS | by_task


class TensorBoard(Watcher):
    """Writes event files into `folder`; `tags` renames numbers. Raises ValueError if tensorboard is not installed.

    A resumed training does not show a step twice: what a former call told of steps that are done again is purged. A
    disk that is full ends the logging with a line to `say`, not the training.
    """

    def __init__(
        self, folder: Path, tags: Mapping[str, str] | None = None, say: Callable[[str], object] = tqdm.write
    ) -> None:
        if find_spec("tensorboard") is None:
            raise ValueError('--log-dir needs tensorboard, which is not installed: pip install "tensorboard>=2.16"')
        self.folder, self.tags, self.say = folder, tags or {}, say
        self._done = 0  # steps that are not told again
        self._writer = None  # made with the first number: a call without steps leaves no file

    def on_start(self, step: int) -> None:
        self._done = step

    def on_record(self, step: int, values: dict[str, float]) -> None:
        def write(writer) -> None:
            for name, value in values.items():
                writer.add_scalar(self.tags.get(name, name), value, step)

        self._do(write)

    def on_samples(self, step: int, folder: Path) -> None:
        """The GIFs of `folder` as images; TensorBoard's page plays them."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        def write(writer) -> None:
            for path in sorted(folder.glob("*.gif")):
                content = path.read_bytes()
                width, height = struct.unpack("<HH", content[6:10])
                image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=content)
                value = Summary.Value(tag=f"samples/{path.stem}", image=image)
                writer.file_writer.add_summary(Summary(value=[value]), step)

        self._do(write)

    def on_save(self, step: int, folder: Path, total_steps: int) -> None:
        """What was told up to here is on disk before steps are that nobody tells again."""
        if self._writer is not None:
            self._do(lambda writer: writer.flush())

    def on_end(self, finished: bool) -> None:
        if self._writer is not None:
            self._do(lambda writer: writer.close())
            self._writer = None

    def _do(self, write: Callable) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.say is None:  # given up
            return
        try:
            if self._writer is None:
                self._writer = SummaryWriter(str(self.folder), purge_step=self._done + 1)
            write(self._writer)
        except OSError as error:
            self.say(f"warning: {self.folder} cannot be written any more ({error}); TensorBoard sees no more of this")
            self.say = None
