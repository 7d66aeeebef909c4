import Foundation

/// A word that was heard, and its smoothed score; times count from the first sample.
public struct Detection: Equatable, Sendable {
    public let word: String
    public let startS: Double
    public let endS: Double
    public let score: Float
}

/// `audio` of commands.json: what one window is.
public struct AudioSettings: Decodable, Sendable {
    public let sampleRateHz: Int
    public let clipMs: Int

    enum CodingKeys: String, CodingKey {
        case sampleRateHz = "sample_rate_hz"
        case clipMs = "clip_ms"
    }

    func samples(ms: Int) -> Int { sampleRateHz * ms / 1000 }
}

/// `listen` of commands.json: when a word counts as heard.
public struct ListenSettings: Decodable, Sendable {
    public let hopMs: Int
    public let smoothingMs: Int
    public let restMs: Int
    public let gateDbfs: Double

    enum CodingKeys: String, CodingKey {
        case hopMs = "hop_ms"
        case smoothingMs = "smoothing_ms"
        case restMs = "rest_ms"
        case gateDbfs = "gate_dbfs"
    }
}

/// Something that is no sound, or a bundle or a microphone that is not as it should be.
public struct CommandsError: LocalizedError {
    public let errorDescription: String?

    init(_ description: String) { errorDescription = description }
}

/// Hears words in a stream: `feed` it pieces of any size, then `finish`; what it hears doesn't depend on the pieces.
///
/// The rule is that of pipeline/device/spot.py: a window is scored at each hop, and scores are averaged over a few
/// windows. Where the best average is that of a word, above its threshold and at its peak, the word is detected; then
/// nothing is for a while, nor the same word before its average was below the threshold again.
///
/// Nothing grows: it may listen for days. It is not for several threads at once.
public final class Spotter {
    private struct Peak {
        let label: Int
        let hop: Int
        let detection: Detection
    }

    private let score: ([Float]) throws -> [Float]
    private let labels: [String]
    private let sampleRateHz: Int
    private let hop, clip, smoothingHops, restHops: Int
    private let gate: Float
    private let limits: [Double]
    private let silence: [Float]

    // The sound of all windows that are averaged, silent at first; its last hop is being filled.
    private var heard: [Float]
    private var filled = 0
    private var hops = 0

    private var recent: [[Float]]
    private var peak: Peak?
    private var restsUntil = 0  // hop
    private var spent: [Bool]  // words whose average has not been below the threshold since

    /// - Parameters:
    ///   - score: gives the scores of one window, in the order of `labels`.
    ///   - thresholds: the average that a word must exceed; a label that has none is never detected.
    public init(
        score: @escaping ([Float]) throws -> [Float], labels: [String], thresholds: [String: Double],
        audio: AudioSettings, listen: ListenSettings
    ) {
        self.score = score
        self.labels = labels
        sampleRateHz = audio.sampleRateHz
        hop = audio.samples(ms: listen.hopMs)
        clip = audio.samples(ms: audio.clipMs)
        smoothingHops = listen.smoothingMs / listen.hopMs
        restHops = listen.restMs / listen.hopMs
        gate = Float(pow(10, listen.gateDbfs / 20))
        limits = labels.map { thresholds[$0] ?? .infinity }
        silence = labels.map { $0 == "_silence_" ? 1 : 0 }
        heard = Array(repeating: 0, count: clip + (smoothingHops - 1) * hop)
        recent = Array(repeating: silence, count: smoothingHops)
        spent = Array(repeating: false, count: labels.count)
    }

    /// Listen on.
    ///
    /// - Parameter samples: mono, in [-1, 1], at the sample rate of the bundle; any number of them.
    /// - Returns: what has become certain: that a word's peak was one is known a hop later.
    public func feed(_ samples: [Float]) throws -> [Detection] {
        // False for NaN too. A little above full scale is allowed.
        guard samples.allSatisfy({ abs($0) <= 16 }) else {
            throw CommandsError("sound must lie in [-1, 1]; divide 16-bit samples by 32768")
        }
        var detections: [Detection] = []
        var rest = samples[...]
        while !rest.isEmpty {
            if filled == 0 { heard = heard.dropFirst(hop) + Array(repeating: 0, count: hop) }
            let piece = rest.prefix(hop - filled)
            let start = heard.count - hop + filled
            heard.replaceSubrange(start..<start + piece.count, with: piece)
            filled += piece.count
            rest = rest.dropFirst(piece.count)
            if filled == hop {
                filled = 0
                if let detection = try step() { detections.append(detection) }
            }
        }
        return detections
    }

    /// The sound has ended: let what is still in the windows pass, as if silence followed.
    public func finish() throws -> [Detection] {
        try feed(Array(repeating: 0, count: heard.count + hop - filled))
    }

    /// One hop further: score, average, and see whether a peak was passed.
    private func step() throws -> Detection? {
        hops += 1
        let window = Array(heard.suffix(clip))
        recent.removeFirst()
        recent.append(window.contains { abs($0) > gate } ? try score(window) : silence)
        let average = labels.indices.map { label in
            recent.reduce(0) { $0 + $1[label] } / Float(smoothingHops)
        }
        let isAbove = labels.indices.map { Double(average[$0]) > limits[$0] }
        spent = labels.indices.map { spent[$0] && isAbove[$0] }
        let label = labels.indices.reduce(0) { average[$1] > average[$0] ? $1 : $0 }  // of equal ones the first
        let isHeard = isAbove[label] && !spent[label] && hops > restsUntil
        if isHeard && (peak == nil || average[label] > peak!.detection.score) {
            let (startS, endS) = place()
            let detection = Detection(word: labels[label], startS: startS, endS: endS, score: average[label])
            peak = Peak(label: label, hop: hops, detection: detection)
            return nil
        }
        return passed()
    }

    /// The averages are past their peak, if there was one.
    private func passed() -> Detection? {
        guard let passed = peak else { return nil }
        peak = nil
        restsUntil = passed.hop + restHops
        spent[passed.label] = true
        return passed.detection
    }

    /// Start and end, in seconds, of the middle 90 % of the energy in the middle one of the windows averaged.
    private func place() -> (Double, Double) {
        let first = (heard.count - clip) / 2
        var sum = 0.0
        let energy = heard[first..<first + clip].map { sample -> Double in
            sum += Double(sample) * Double(sample)
            return sum
        }
        let offset = hops * hop - heard.count + first
        func seconds(_ share: Double) -> Double {
            let sample = energy.firstIndex { $0 >= share * sum }!
            return Double(max(0, offset + sample)) / Double(sampleRateHz)
        }
        return (seconds(0.05), seconds(0.95))
    }
}
