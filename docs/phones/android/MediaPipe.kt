package com.example.commands

import android.content.Context
import com.google.mediapipe.tasks.audio.audioclassifier.AudioClassifier
import com.google.mediapipe.tasks.components.containers.AudioData
import com.google.mediapipe.tasks.components.containers.AudioData.AudioDataFormat

/**
 * The network in MediaPipe's AudioClassifier, in its clip mode.
 *
 * MediaPipe sends figures on its use to Google: ask for consent before you make one.
 */
class MediaPipe(context: Context, asset: String, sampleRateHz: Int) : AutoCloseable {
    private val classifier = AudioClassifier.createFromFile(context, asset)
    private val format = AudioDataFormat.builder().setSampleRate(sampleRateHz.toFloat()).build() // mono

    /** Scores of one window, in the order of the labels; MediaPipe gives them from the best to the worst. */
    fun score(window: FloatArray): FloatArray {
        val clip = AudioData.create(format, window.size)
        clip.load(window)
        val result = classifier.classify(clip).classificationResults().single()
        val categories = result.classifications().single().categories()
        return categories.sortedBy { it.index() }.map { it.score() }.toFloatArray()
    }

    override fun close() = classifier.close()
}
