package com.example.commands

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import org.json.JSONArray
import org.json.JSONObject

private const val FORMAT = 2

/**
 * What a bundle says of itself, and its golden clips.
 *
 * @param read gives a file of the bundle by its name, for example from the app's assets.
 * @throws IllegalArgumentException if the bundle is of another format.
 */
class CommandBundle(private val read: (String) -> ByteArray) {
    val labels: List<String>
    val thresholds: Map<String, Double>
    val audio: AudioSettings
    val listen: ListenSettings

    init {
        val description = json("commands.json")
        val format = description.getInt("format")
        require(format == FORMAT) { "commands.json: format $format, and this code reads format $FORMAT" }
        labels = description.getJSONArray("labels").strings()
        val limits = description.getJSONObject("thresholds")
        thresholds = labels.filter(limits::has).associateWith(limits::getDouble)
        audio = description.getJSONObject("audio").run { AudioSettings(getInt("sample_rate_hz"), getInt("clip_ms")) }
        listen = description.getJSONObject("listen").run {
            ListenSettings(getInt("hop_ms"), getInt("smoothing_ms"), getInt("rest_ms"), getDouble("gate_dbfs"))
        }
    }

    /** Hears the bundle's words in a stream, with the score function of a runtime. */
    fun spotter(score: (FloatArray) -> FloatArray) = Spotter(score, labels, thresholds, audio, listen)

    /**
     * Score the golden clips, as a test of the app's way to the network.
     *
     * @param file the file that [score] runs.
     * @throws IllegalStateException if a score is further off than its tolerance allows.
     */
    fun checkGolden(score: (FloatArray) -> FloatArray, file: String = "commands.tflite") {
        val golden = json("golden/golden.json")
        val tolerance = golden.getJSONObject("tolerance").getDouble(file)
        for (clip in golden.getJSONArray("clips").objects()) {
            val name = clip.getString("file")
            val expected = clip.getJSONObject("scores").getJSONArray(file)
            val found = score(samplesOf(name))
            check(found.size == expected.length()) { "$name: ${found.size} scores, not ${expected.length()}" }
            for (label in found.indices) {
                val off = abs(found[label] - expected.getDouble(label))
                check(off <= tolerance) { "$name: ${labels[label]} is $off off, and $tolerance is allowed" } // nor NaN
            }
        }
    }

    /** Sound of a golden clip: 16-bit PCM, mono, behind a header of 44 bytes. */
    private fun samplesOf(clip: String): FloatArray {
        val wav = ByteBuffer.wrap(read("golden/$clip")).order(ByteOrder.LITTLE_ENDIAN)
        val (channels, bits) = wav.getShort(22) to wav.getShort(34)
        val isPlain = channels.toInt() == 1 && bits.toInt() == 16 && wav.getInt(24) == audio.sampleRateHz
        check(isPlain && wav.getInt(40) == wav.capacity() - 44) { "golden/$clip: not 16-bit PCM as it was made" }
        return FloatArray((wav.capacity() - 44) / 2) { wav.getShort(44 + 2 * it) / 32768f }
    }

    private fun json(file: String) = JSONObject(read(file).decodeToString())
}

private fun JSONArray.strings() = List(length()) { getString(it) }

private fun JSONArray.objects() = List(length()) { getJSONObject(it) }
