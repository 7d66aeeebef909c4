package com.example.commands

import android.Manifest
import android.media.AudioFormat
import android.media.AudioRecord
import android.media.MediaRecorder
import androidx.annotation.RequiresPermission
import java.io.IOException
import kotlin.concurrent.thread

/**
 * Gives sound of the microphone in pieces of a tenth of a second, on a thread of its own, until it is closed.
 *
 * @param onFault told why the sound ended, if it did so by itself.
 * @throws UnsupportedOperationException if the device can't be opened so.
 */
class Microphone @RequiresPermission(Manifest.permission.RECORD_AUDIO) constructor(
    private val sampleRateHz: Int,
    private val onSamples: (FloatArray) -> Unit,
    private val onFault: (Exception) -> Unit,
) : AutoCloseable {
    private val record = AudioRecord.Builder()
        // Without the noise suppression and the gain control that are meant for telephone calls.
        .setAudioSource(MediaRecorder.AudioSource.VOICE_RECOGNITION)
        .setAudioFormat(
            AudioFormat.Builder()
                .setEncoding(AudioFormat.ENCODING_PCM_FLOAT)
                .setSampleRate(sampleRateHz)
                .setChannelMask(AudioFormat.CHANNEL_IN_MONO)
                .build(),
        )
        .setBufferSizeInBytes(sampleRateHz * Float.SIZE_BYTES) // a second: what may pass while the phone is busy
        .build()

    @Volatile
    private var isOpen = true
    private val listening = thread(name = "microphone") { listen() }

    private fun listen() {
        val piece = FloatArray(sampleRateHz / 10)
        try {
            record.startRecording()
            while (isOpen) {
                val count = record.read(piece, 0, piece.size, AudioRecord.READ_BLOCKING)
                if (count < 0) throw IOException("the microphone gave error $count")
                onSamples(piece.copyOf(count))
            }
        } catch (fault: Exception) {
            onFault(fault)
        } finally {
            record.release()
        }
    }

    /** Returns when the last piece was given; not to be called from within [onSamples]. */
    override fun close() {
        isOpen = false
        listening.join()
    }
}
