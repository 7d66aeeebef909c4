package com.example.commands

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The network in LiteRT, on the processor: the file is small, and its front-end has no operators for a GPU. */
class LiteRt(assets: AssetManager, asset: String) : AutoCloseable {
    private val model = CompiledModel.create(assets, asset, CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** Scores of one window, in the order of the labels. Not for several threads at once. */
    fun score(window: FloatArray): FloatArray {
        inputs[0].writeFloat(window)
        model.run(inputs, outputs)
        return outputs[0].readFloat()
    }

    override fun close() {
        inputs.forEach { it.close() }
        outputs.forEach { it.close() }
        model.close()
    }
}
