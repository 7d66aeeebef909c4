"""Pruning, then clustering that keeps the zeros: fewer different weights, so that the packed file is smaller."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.network.engine import tf_keras

# isort: split
# After the engine, which says which Keras; not in it, because only this room needs it and it takes a second and a half.
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

Fit = Callable[[tf_keras.Model, list[tf_keras.callbacks.Callback]], None]

# A smaller layer (the one unit that weighs the frames) has too few weights left to find clusters in.
_MIN_WEIGHTS = 500


class PrunableBidirectional(tf_keras.layers.Bidirectional, tfmot.sparsity.keras.PrunableLayer):
    """A Bidirectional LSTM that names its kernels for pruning; tfmot refuses the plain one."""

    def get_prunable_weights(self) -> list:
        cells = (self.forward_layer.cell, self.backward_layer.cell)
        return [kernel for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)]


def prune(model: tf_keras.Model, fit: Fit, *, sparsity: float, steps: int) -> tf_keras.Model:
    """Zero the smallest weights of each kernel, more and more of them over the first two thirds of `steps`.

    Zhu & Gupta 2017, arXiv:1710.01878. `fit` compiles and trains the model it is given, with the callbacks it is given.
    """
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.1, sparsity, begin_step=0, end_step=steps * 2 // 3, frequency=8)

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule) if _is_compressed(layer) else layer

    prunable = tf_keras.models.clone_model(model, clone_function=_prunable)
    prunable.set_weights(model.get_weights())
    wrapped = tf_keras.models.clone_model(prunable, clone_function=wrap)
    fit(wrapped, [tfmot.sparsity.keras.UpdatePruningStep()])
    return _copied(tfmot.sparsity.keras.strip_pruning(wrapped), model)


def share_weights(model: tf_keras.Model, fit: Fit, *, clusters: int) -> tf_keras.Model:
    """Let each kernel keep at most `clusters` different values, zeros staying zeros, while `fit` trains on.

    Han, Mao & Dally 2016, arXiv:1510.00149.
    """
    start = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS

    def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if not _is_compressed(layer):
            return layer
        return cluster.cluster_weights(
            layer, number_of_clusters=clusters, cluster_centroids_init=start, preserve_sparsity=True
        )

    wrapped = tf_keras.models.clone_model(_copied(model, model), clone_function=wrap)
    fit(wrapped, [])
    return _copied(tfmot.clustering.keras.strip_clustering(wrapped), model)


def _is_compressed(layer: tf_keras.layers.Layer) -> bool:
    kinds = (tf_keras.layers.Bidirectional, tf_keras.layers.Dense, tf_keras.layers.Conv2D)
    return isinstance(layer, kinds) and layer.trainable and layer.count_params() >= _MIN_WEIGHTS


def _prunable(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    kind = PrunableBidirectional if isinstance(layer, tf_keras.layers.Bidirectional) else type(layer)
    return kind.from_config(layer.get_config())


def _copied(stripped: tf_keras.Model, plain: tf_keras.Model) -> tf_keras.Model:
    """A fresh model like `plain` with the weights of `stripped`, by name: tfmot shortens names and may reorder."""
    fresh = tf_keras.models.clone_model(plain)
    for layer in fresh.layers:
        given = stripped.get_layer(layer.name).weights
        layer.set_weights([next(w for w in given if weight.name.endswith(w.name)).numpy() for weight in layer.weights])
    return fresh
