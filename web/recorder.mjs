// Hands on what the microphone gives, in the thread of the sound.
class Recorder extends AudioWorkletProcessor {
  process([[channel]]) {
    // Without a channel nothing is connected at the moment: that is silence, so that times go on.
    this.port.postMessage(channel ? channel.slice() : new Float32Array(128));
    return true;
  }
}
registerProcessor("recorder", Recorder);
