"""Over which processors of which machines a training is spread."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.config import exact_div, require
from pipeline.errors import SettingsError
from pipeline.network.engine import tf

VARIABLE = "TF_CONFIG"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """One of the processes that train one network together; the first is the chief, who keeps what is learnt."""

    number: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.number == 0


def this_worker() -> Worker:
    """What `TF_CONFIG` says of this process; alone where it isn't set.

    Raises
    ------
    SettingsError
        If it is no such thing, or has other tasks than workers.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Worker()
    try:
        content = json.loads(text)
        workers, task = content["cluster"]["worker"], content["task"]
        is_known = content["cluster"].keys() == {"worker"} and task["type"] == "worker"
        number = int(task["index"])
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError(f"{VARIABLE}: {error!r}; see docs/performance.md for what it has to be") from None
    if not is_known or not 0 <= number < len(workers):
        raise SettingsError(f"{VARIABLE}: a cluster of workers alone, and the index of one; see docs/performance.md")
    return Worker(number, len(workers))


@dataclass(frozen=True)
class Together:
    """How this process trains: on one processor, on several, or as one of several workers with some of the files each.

    Several processors share each batch evenly: what is left of an epoch might be too little for all of them.
    """

    worker: Worker
    strategy: tf.distribute.Strategy

    def steps(self, rows: Sequence[int], batch_clips: int) -> int:
        """Steps of an epoch; on several processors as many as the worker with the fewest rows can make.

        Parameters
        ----------
        rows
            Of each file.

        Raises
        ------
        SettingsError
            If there is too little for each processor to make one.
        """
        if self._processors == 1:
            return math.ceil(sum(rows) / batch_clips)
        fewest = min(sum(rows[number :: self.worker.count]) for number in range(self.worker.count))
        steps = fewest // (self._share(batch_clips) * self._own_processors)
        few = f"{sum(rows)} windows in {len(rows)} shards are too few for {self._processors} processors"
        require(steps > 0, f"{few}; make features.shard_clips or train.batch_clips smaller, or train on fewer")
        return steps

    def batches(self, steps: int, batch_clips: int, make: Callable[[int], tf.data.Dataset]) -> tf.data.Dataset:
        """What `fit` takes: `make`, given the clips of a batch, makes an epoch of this worker's rows each time."""
        if self._processors == 1:
            return make(batch_clips)
        own = make(self._share(batch_clips)).take(steps * self._own_processors).repeat()
        return self.strategy.distribute_datasets_from_function(lambda _: own)

    @property
    def _processors(self) -> int:
        """Of all workers."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def _own_processors(self) -> int:
        return self._processors // self.worker.count

    def _share(self, batch_clips: int) -> int:
        """Clips of a batch for each processor."""
        return exact_div(batch_clips, self._processors, "train.batch_clips / processors that train together")


def together() -> Together:
    """Mirrored over all workers, or over several GPUs; plain for one GPU or for the processor.

    With several workers it waits for all of them, and must come before anything else that TensorFlow does.
    """
    worker = this_worker()
    if worker.count > 1:
        log.info("worker %d of %d: training begins when all are there", worker.number + 1, worker.count)
        return Together(worker, tf.distribute.MultiWorkerMirroredStrategy())
    devices = tf.config.list_logical_devices("GPU")
    log.info("training on %s", ", ".join(device.name for device in devices) or "the processor (no GPU found)")
    if len(devices) > 1:
        return Together(worker, tf.distribute.MirroredStrategy([device.name for device in devices]))
    return Together(worker, tf.distribute.get_strategy())
