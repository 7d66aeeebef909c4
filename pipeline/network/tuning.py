"""A trained network is trained on, with what made it smaller or with a speaker's own takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipeline.config import Train
from pipeline.network.engine import tf, tf_keras


def train_on(
    network: tf_keras.Model,
    examples: tf.data.Dataset,
    settings: Train,
    *,
    validation: tf.data.Dataset | None = None,
    callbacks: Sequence[tf_keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Train for all epochs of `settings`, by Adam under a cosine from the learning rate to a hundredth of it.

    Parameters
    ----------
    examples
        Batches of an epoch, a known number, as `batches.training` gives them.

    Returns
    -------
    figures
        Loss and accuracy after each epoch, `val_loss` and `val_accuracy` where there is validation.
    """
    steps = int(examples.cardinality()) * settings.epochs
    rate = tf_keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps, alpha=0.01)
    loss = tf_keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    network.compile(tf_keras.optimizers.Adam(rate), loss, ["accuracy"], jit_compile=False)
    verbose = 1 if sys.stdout.isatty() else 2
    fitted = network.fit(
        examples, validation_data=validation, epochs=settings.epochs, callbacks=list(callbacks), verbose=verbose
    )
    return dict(fitted.history)
