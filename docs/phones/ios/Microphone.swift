import AVFoundation

/// Gives sound of the microphone in pieces, at the rate of the bundle, on a queue of its own.
///
/// Ask for permission first. What changes the device while it listens, such as a headset that is plugged in, or a
/// telephone call, stops it: start a new one after `AVAudioEngineConfigurationChange` and
/// `AVAudioSession.interruptionNotification`.
public final class Microphone {
    private let engine = AVAudioEngine()
    private let queue = DispatchQueue(label: "microphone")
    private let wanted: AVAudioFormat
    private let onSamples: ([Float]) throws -> Void
    private let onFault: (Error) -> Void

    /// - Parameter onFault: told what `onSamples` threw, or why the sound could not be converted.
    public init(
        sampleRateHz: Int, onSamples: @escaping ([Float]) throws -> Void, onFault: @escaping (Error) -> Void
    ) {
        // Of one channel in 32-bit floats there is a format for any rate.
        wanted = AVAudioFormat(standardFormatWithSampleRate: Double(sampleRateHz), channels: 1)!
        self.onSamples = onSamples
        self.onFault = onFault
    }

    public func start() throws {
        let session = AVAudioSession.sharedInstance()
        // With as little of the system's own filters and gain control as there can be.
        try session.setCategory(.record, mode: .measurement)
        try session.setActive(true)
        let native = engine.inputNode.outputFormat(forBus: 0)
        guard native.sampleRate > 0, let converter = AVAudioConverter(from: native, to: wanted) else {
            throw CommandsError("no way from the microphone's \(native) to \(wanted)")
        }
        let tenth = AVAudioFrameCount(native.sampleRate / 10)  // of a second; the system may give more or less
        engine.inputNode.installTap(onBus: 0, bufferSize: tenth, format: native) { [self] buffer, _ in
            let samples = Result { try convert(buffer, with: converter) }
            queue.async { [self] in
                do { try onSamples(samples.get()) } catch { onFault(error) }
            }
        }
        engine.prepare()
        try engine.start()
    }

    /// Returns when the last piece was given; not to be called from within `onSamples` or `onFault`.
    public func stop() {
        engine.stop()
        engine.inputNode.removeTap(onBus: 0)
        queue.sync {}
    }

    /// What comes of one buffer; the converter keeps what it needs of it for the next.
    private func convert(_ buffer: AVAudioPCMBuffer, with converter: AVAudioConverter) throws -> [Float] {
        let ratio = wanted.sampleRate / buffer.format.sampleRate
        let capacity = AVAudioFrameCount(Double(buffer.frameLength) * ratio) + 1024
        guard let converted = AVAudioPCMBuffer(pcmFormat: wanted, frameCapacity: capacity) else {
            throw CommandsError("no memory for \(capacity) samples")
        }
        var isGiven = false
        var fault: NSError?
        let status = converter.convert(to: converted, error: &fault) { _, status in
            status.pointee = isGiven ? .noDataNow : .haveData
            defer { isGiven = true }
            return isGiven ? nil : buffer
        }
        guard status != .error, let channel = converted.floatChannelData?[0] else {
            throw fault ?? CommandsError("the sound could not be converted")
        }
        return Array(UnsafeBufferPointer(start: channel, count: Int(converted.frameLength)))
    }
}
