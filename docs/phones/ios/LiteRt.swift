import Foundation
import LiteRT

/// The network in LiteRT, on the processor: the file is small, and its front-end has no operators for a GPU.
public final class LiteRt {
    private let model: CompiledModel
    private let inputs, outputs: [TensorBuffer]

    public init(file: URL) throws {
        let options = try Options()
        try options.setHardwareAccelerators([.cpu])
        model = try CompiledModel(filePath: file.path, environment: Environment(), options: options)
        inputs = try model.createInputBuffers()
        outputs = try model.createOutputBuffers()
    }

    /// Scores of one window, in the order of the labels. Not for several threads at once.
    public func score(_ window: [Float]) throws -> [Float] {
        try inputs[0].write(window)
        try model.run(inputs: inputs, outputs: outputs)
        return try outputs[0].read()
    }
}
