"""What the page works with: wishes in a queue, the motions that came of them, and their files.

    studio = Studio(Maker(generator, "demo"))
    order = studio.ask({"text": "a person walks forward"})
    studio.record(order)
    studio.file(motion_id, "gif")
    studio.stop()

One thread owns the model, and another writes files, so that a film does not hold up the next motion. Everything kept
has a bound: waiting orders, orders, motions, bytes of files. This module knows no web.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from motiongpt.motion import Motion
from motiongpt.render.html import scene
from motiongpt.render.view import View
from motiongpt.studio.jobs import Job, Missing, Queue, new_id
from motiongpt.studio.maker import Maker, formats
from motiongpt.studio.saved_files import SavedFiles
from motiongpt.studio.wish import Refused, Wish, read_wish

WAITING = 8  # orders, and files, that may wait
KEPT_ORDERS = 64
KEPT_MOTIONS = 50
PATIENCE = 3.0  # seconds that the end of the program waits for work to end


@dataclass(frozen=True)
class Kept:
    """A motion of this session and how it came about."""

    id: str
    number: int  # from 1, for people
    motion: Motion
    wish: Wish
    seed: int
    source: int | None  # number of the motion that it was made from
    described: list[str] = field(default_factory=list)  # answers of m2t

    def record(self) -> dict:
        """For the page."""
        return {
            "id": self.id,
            "number": self.number,
            "task": self.wish.task,
            "text": self.motion.text,
            "seed": self.seed,
            "participant": self.wish.participant,
            "source": self.source,
            "seconds": round(self.motion.seconds, 3),
            "codes": self.motion.tokens_text,
            "notes": list(self.motion.notes),
            "described": list(self.described),
            "formats": formats(self.motion),
        }


@dataclass
class Order:
    """A wish on its way."""

    wish: Wish
    source: Kept | None
    job: Job | None = None
    understood: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()  # ids
    said: str = ""


class Studio:
    """All that lasts as long as the program."""

    def __init__(self, maker: Maker, *, waiting: int = WAITING, motions: int = KEPT_MOTIONS) -> None:
        """`waiting` and `motions` bound the queue and the motions that are kept."""
        self.maker, self.most_motions = maker, motions
        self._orders: OrderedDict[str, Order] = OrderedDict()
        self._motions: OrderedDict[str, Kept] = OrderedDict()
        self._files = SavedFiles(waiting)
        self._count = 0
        self._lock = threading.Lock()
        self._queue = Queue("motions", waiting)

    def state(self) -> dict:
        """The run, the motions so far and the orders on their way, for a page that opens."""
        with self._lock:
            motions, orders = list(self._motions.values()), list(self._orders.values())
        return {
            "run": self.maker.facts(),
            "motions": [kept.record() for kept in motions],
            "jobs": [self.record(order) for order in orders if not order.job.over.is_set()],
        }

    def ask(self, record: object) -> Order:
        """Put a wish, as JSON values, into the queue. Raises Refused, Missing and Full."""
        maker = self.maker
        wish = read_wish(record, maker.tasks, maker.participants, maker.wordless)
        source = None if wish.motion is None else self._kept(wish.motion)
        maker.check(wish)
        order = Order(wish, source)
        with self._lock:  # the worker must not finish an order before it is in the table
            order.job = self._queue.add(lambda job: self._make(order, job))
            self._orders[order.job.id] = order
            over = [name for name, other in self._orders.items() if other.job.over.is_set()]
            for name in over[: max(0, len(self._orders) - KEPT_ORDERS)]:
                del self._orders[name]
        return order

    def order(self, name: str) -> Order:
        """The order with this id. Raises Missing."""
        with self._lock:
            if name not in self._orders:
                raise Missing("there is no such request, or it is long over")
            return self._orders[name]

    def cancel(self, name: str) -> Order:
        """Stop an order, now if it waits, at its next code if it runs. Raises Missing."""
        order = self.order(name)
        self._queue.cancel(order.job)
        return order

    def record(self, order: Order) -> dict:
        """An order for the page."""
        job = order.job
        state, place = job.state, self._queue.place(job)  # the state first: all else is final once it says "done"
        with self._lock:
            made = [self._motions[name] for name in order.motions if name in self._motions]
        return {
            "id": job.id,
            "task": order.wish.task,
            "text": "\n".join(order.wish.sentences),
            "state": state,
            "position": place,
            "progress": round(job.share, 3),
            "understood": list(order.understood),
            "motions": [kept.record() for kept in made],
            "source": order.wish.motion,
            "said": order.said,
            "error": job.error,
            "field": job.error_field,
            "fault": job.is_fault,
        }

    def scene(self, name: str) -> dict | None:
        """What the viewer shows of a motion; None if it has no joints. Raises Missing, and Refused."""
        motion = self._kept(name).motion
        if motion.joints is None and motion.parameters is None:
            return None
        try:
            return scene([motion.shown()], View(title=motion.title()))
        except ValueError as error:  # joints where nobody is
            raise Refused(str(error)) from error

    def file(self, name: str, suffix: str) -> bytes:
        """A motion as a file, written now or before. Raises Missing and what `SavedFiles.get` raises."""
        kept = self._kept(name)
        if suffix not in formats(kept.motion):
            raise Missing(f"this motion has no .{suffix}")
        return self._files.get(kept.motion, name, suffix)

    def stop(self) -> None:
        """Cancel everything and wait a moment for it to end."""
        self._queue.stop(PATIENCE)
        self._files.stop(PATIENCE)

    def _kept(self, name: str) -> Kept:
        with self._lock:
            if name not in self._motions:
                raise Missing("this motion is no longer kept; make it again")
            return self._motions[name]

    def _make(self, order: Order, job: Job) -> None:
        """The work of an order."""
        order.understood = self.maker.understood(order.wish)
        source = order.source
        made = self.maker.make(order.wish, source and source.motion, job.tell)
        job.tell(1.0)  # a motion that was cancelled at its end must not appear
        names = []
        with self._lock:
            for motion, seed in zip(made.motions, made.seeds, strict=True):
                self._count += 1
                kept = Kept(new_id(), self._count, motion, order.wish, seed, source and source.number)
                self._motions[kept.id] = kept
                names.append(kept.id)
            while len(self._motions) > self.most_motions:
                gone, _ = self._motions.popitem(last=False)
                self._files.forget(gone)
        if source and made.said:
            source.described.append(made.said)
        order.motions, order.said = tuple(names), made.said
