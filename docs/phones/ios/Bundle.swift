import Foundation

/// What a bundle says of itself, and its golden clips.
public struct CommandBundle {
    private struct Description: Decodable {
        let format: Int
    }

    private struct Content: Decodable {
        let labels: [String]
        let thresholds: [String: Double]
        let audio: AudioSettings
        let listen: ListenSettings
    }

    private struct Golden: Decodable {
        struct Clip: Decodable {
            let file: String
            let scores: [String: [Float]]
        }

        let tolerance: [String: Float]
        let clips: [Clip]
    }

    private static let format = 2

    public let folder: URL
    public let labels: [String]
    public let thresholds: [String: Double]
    public let audio: AudioSettings
    public let listen: ListenSettings

    /// - Throws: `CommandsError` if the bundle is of another format.
    public init(folder: URL) throws {
        let json = try Data(contentsOf: folder.appendingPathComponent("commands.json"))
        let found = try JSONDecoder().decode(Description.self, from: json).format
        guard found == Self.format else {
            throw CommandsError("commands.json: format \(found), and this code reads format \(Self.format)")
        }
        let content = try JSONDecoder().decode(Content.self, from: json)
        self.folder = folder
        labels = content.labels
        thresholds = content.thresholds
        audio = content.audio
        listen = content.listen
    }

    /// Hears the bundle's words in a stream, with the score function of a runtime.
    public func spotter(score: @escaping ([Float]) throws -> [Float]) -> Spotter {
        Spotter(score: score, labels: labels, thresholds: thresholds, audio: audio, listen: listen)
    }

    /// Score the golden clips, as a test of the app's way to the network.
    ///
    /// - Parameter file: the file that `score` runs.
    /// - Throws: `CommandsError` if a score is further off than its tolerance allows.
    public func checkGolden(score: ([Float]) throws -> [Float], file: String = "commands.tflite") throws {
        let json = try Data(contentsOf: folder.appendingPathComponent("golden/golden.json"))
        let golden = try JSONDecoder().decode(Golden.self, from: json)
        guard let tolerance = golden.tolerance[file] else {
            throw CommandsError("golden.json: nothing of \(file)")
        }
        for clip in golden.clips {
            let found = try score(samples(of: clip.file))
            let expected = clip.scores[file] ?? []
            guard found.count == expected.count else {
                throw CommandsError("\(clip.file): \(found.count) scores, not \(expected.count)")
            }
            for label in found.indices {
                let off = abs(found[label] - expected[label])
                guard off <= tolerance else {  // nor NaN
                    throw CommandsError("\(clip.file): \(labels[label]) is \(off) off, and \(tolerance) is allowed")
                }
            }
        }
    }

    /// Sound of a golden clip: 16-bit PCM, mono, behind a header of 44 bytes.
    private func samples(of clip: String) throws -> [Float] {
        let wav = [UInt8](try Data(contentsOf: folder.appendingPathComponent("golden/\(clip)")))
        func number(_ at: Int, _ bytes: Int) -> Int { (0..<bytes).reduce(0) { $0 | Int(wav[at + $1]) << (8 * $1) } }
        let isPlain = wav.count > 44 && number(22, 2) == 1 && number(34, 2) == 16 && number(24, 4) == audio.sampleRateHz
        guard isPlain && number(40, 4) == wav.count - 44 else {
            throw CommandsError("golden/\(clip): not 16-bit PCM as it was made")
        }
        return stride(from: 44, to: wav.count, by: 2).map {
            Float(Int16(truncatingIfNeeded: number($0, 2))) / 32768
        }
    }
}
