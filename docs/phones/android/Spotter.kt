package com.example.commands

import kotlin.math.abs
import kotlin.math.min
import kotlin.math.pow

/** A word that was heard, and its smoothed score; times count from the first sample. */
data class Detection(val word: String, val startS: Double, val endS: Double, val score: Float)

/** `audio` of commands.json: what one window is. */
data class AudioSettings(val sampleRateHz: Int, val clipMs: Int)

/** `listen` of commands.json: when a word counts as heard. */
data class ListenSettings(val hopMs: Int, val smoothingMs: Int, val restMs: Int, val gateDbfs: Double)

/**
 * Hears words in a stream: [feed] it pieces of any size, then [finish]; what it hears doesn't depend on the pieces.
 *
 * The rule is that of pipeline/device/spot.py: a window is scored at each hop, and scores are averaged over a few
 * windows. Where the best average is that of a word, above its threshold and at its peak, the word is detected; then
 * nothing is for a while, nor the same word before its average was below the threshold again.
 *
 * Nothing grows: it may listen for days. It is not for several threads at once.
 *
 * @param score gives the scores of one window, in the order of [labels]; a new array each time.
 * @param thresholds the average that a word must exceed; a label that has none is never detected.
 */
class Spotter(
    private val score: (FloatArray) -> FloatArray,
    private val labels: List<String>,
    thresholds: Map<String, Double>,
    private val audio: AudioSettings,
    listen: ListenSettings,
) {
    private class Peak(val label: Int, val hop: Long, val detection: Detection)

    private val hop = samples(listen.hopMs)
    private val clip = samples(audio.clipMs)
    private val smoothingHops = listen.smoothingMs / listen.hopMs
    private val restHops = listen.restMs / listen.hopMs
    private val gate = 10.0.pow(listen.gateDbfs / 20).toFloat()
    private val limits = DoubleArray(labels.size) { thresholds[labels[it]] ?: Double.POSITIVE_INFINITY }
    private val silence = FloatArray(labels.size) { if (labels[it] == "_silence_") 1f else 0f }

    // The sound of all windows that are averaged, silent at first; its last hop is being filled.
    private val heard = FloatArray(clip + (smoothingHops - 1) * hop)
    private var filled = 0
    private var hops = 0L // times hop it is more than an Int holds, after a day and a half at 16 kHz

    private val recent = ArrayDeque(List(smoothingHops) { silence })
    private var peak: Peak? = null
    private var restsUntil = 0L // hop
    private val spent = BooleanArray(labels.size) // words whose average has not been below the threshold since

    /**
     * Listen on.
     *
     * @param samples mono, in [-1, 1], at the sample rate of [audio]; any number of them.
     * @return what has become certain: that a word's peak was one is known a hop later.
     */
    fun feed(samples: FloatArray): List<Detection> {
        // False for NaN too. A little above full scale is allowed.
        require(samples.all { abs(it) <= 16 }) { "sound must lie in [-1, 1]; divide 16-bit samples by 32768" }
        val detections = mutableListOf<Detection>()
        var read = 0
        while (read < samples.size) {
            if (filled == 0) heard.copyInto(heard, 0, hop)
            val taken = min(hop - filled, samples.size - read)
            samples.copyInto(heard, heard.size - hop + filled, read, read + taken)
            filled += taken
            read += taken
            if (filled == hop) {
                filled = 0
                step()?.let { detections += it }
            }
        }
        return detections
    }

    /** The sound has ended: let what is still in the windows pass, as if silence followed. */
    fun finish(): List<Detection> = feed(FloatArray(heard.size + hop - filled))

    /** One hop further: score, average, and see whether a peak was passed. */
    private fun step(): Detection? {
        hops++
        val window = heard.copyOfRange(heard.size - clip, heard.size)
        recent.removeFirst()
        recent.addLast(if (window.any { abs(it) > gate }) score(window) else silence)
        val average = FloatArray(labels.size) { label ->
            recent.fold(0f) { sum, scores -> sum + scores[label] } / smoothingHops
        }
        for (label in spent.indices) spent[label] = spent[label] && average[label] > limits[label]
        val label = average.indices.maxBy { average[it] } // of equal ones the first
        val isHeard = average[label] > limits[label] && !spent[label] && hops > restsUntil
        if (isHeard && peak.let { it == null || average[label] > it.detection.score }) {
            val (startS, endS) = place()
            peak = Peak(label, hops, Detection(labels[label], startS, endS, average[label]))
            return null
        }
        return passed()
    }

    /** The averages are past their peak, if there was one. */
    private fun passed(): Detection? {
        val passed = peak ?: return null
        peak = null
        restsUntil = passed.hop + restHops
        spent[passed.label] = true
        return passed.detection
    }

    /** Start and end, in seconds, of the middle 90 % of the energy in the middle one of the windows averaged. */
    private fun place(): Pair<Double, Double> {
        val first = (heard.size - clip) / 2
        var sum = 0.0
        val energy = DoubleArray(clip) { sum += heard[first + it].toDouble().pow(2); sum }
        val offset = hops * hop - heard.size + first
        val (startS, endS) = listOf(0.05, 0.95).map { share ->
            val sample = energy.indexOfFirst { it >= share * sum }
            maxOf(0, offset + sample).toDouble() / audio.sampleRateHz
        }
        return startS to endS
    }

    private fun samples(ms: Int) = audio.sampleRateHz * ms / 1000
}
