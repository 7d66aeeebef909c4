"""How each peer was trained where it was published, as far as our settings can say it.

The features, what changes a clip, and the lengths of training stand in `published/*.toml`. What those can't say: their
clips are changed anew in every epoch and ours ahead, in a few copies; their shifts are of the clip as it lies and ours
of the word's middle; a part of our noise is coloured, all of theirs recorded. Clips, splits, labels and the choice of
the best epoch (by validation loss) are ours for all.

What two cores can do in a night caps the epochs: no peer sees more windows by its paper's recipe than our network by
ours (BC-ResNet-1 would), and by our recipe a peer whose steps take 1.7 to 2.9 times as long as ours trains half as
many epochs. A learning rate's schedule is stretched over the epochs that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import networks
from pipeline.config import Train
from pipeline.network.engine import tf_keras
from pipeline.stages.train import Architecture, Optimizer

SETTINGS = Path(__file__).with_name("published")

optimizers = tf_keras.optimizers


@dataclass(frozen=True)
class Published:
    """The recipe of a paper: a file of settings, an optimiser, and the length of the training there."""

    settings: str
    optimizer: Optimizer
    epochs: int  # or steps
    clips: int  # that each of them sees

    @property
    def path(self) -> Path:
        return SETTINGS / f"{self.settings}.toml"


@dataclass(frozen=True)
class Peer:
    architecture: Architecture
    published: Published
    slow: bool = False  # a step of training takes 1.7 to 2.9 times as long as ours: by our recipe half the epochs


def adam_in_stages(*factors: float) -> Optimizer:
    """Adam (Kingma & Ba 2015); its rate is multiplied by each factor for an equal share of the training."""

    def optimizer(settings: Train, steps: int) -> tf_keras.optimizers.Optimizer:
        ends = [round(steps * settings.epochs * n / len(factors)) for n in range(1, len(factors))]
        rates = [settings.learning_rate * factor for factor in factors]
        return optimizers.Adam(optimizers.schedules.PiecewiseConstantDecay(ends, rates))

    return optimizer


def sgd_under_cosine(settings: Train, steps: int) -> tf_keras.optimizers.Optimizer:
    """Momentum 0.9 under a cosine to zero, after a warm-up of 5 epochs in 200.

    There weight decay is a part of the gradient and grows with it to 1 / (1 - momentum) times as much; in Keras it
    goes past the momentum.
    """
    total = steps * settings.epochs
    warmup, momentum = total * 5 // 200, 0.9
    rate = optimizers.schedules.CosineDecay(
        0.0, decay_steps=total - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup
    )
    return optimizers.SGD(rate, momentum=momentum, weight_decay=settings.weight_decay / (1 - momentum))


# Rates of 1e-3, times 0.4 after every 15 of 60 epochs.
_ATTENTION_RNN = Published("attention_rnn", adam_in_stages(1, 0.4, 0.4**2, 0.4**3), epochs=60, clips=84_849)
# 5e-4, 1e-4, 2e-5.
_DS_CNN = Published("ds_cnn", adam_in_stages(1, 0.2, 0.04), epochs=36, clips=85_511)
_HELLO_EDGE = Published("hello_edge", adam_in_stages(1, 0.2, 0.04), epochs=30_000, clips=100)
_BC_RESNET = Published("bc_resnet_1", sgd_under_cosine, epochs=200, clips=36_923)

PEERS = {
    "attention_rnn": Peer(networks.attention_rnn, _ATTENTION_RNN, slow=True),
    "ds_cnn": Peer(networks.ds_cnn, _DS_CNN, slow=True),
    "bc_resnet_1": Peer(networks.bc_resnet_1, _BC_RESNET, slow=True),
    "lstm": Peer(networks.lstm, _HELLO_EDGE),
    "rnn": Peer(networks.rnn, _HELLO_EDGE),
}
