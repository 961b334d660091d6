// Turn an object, and follow the job. In examples/javascript, with the file that ../descriptors.py writes:
//   python ../descriptors.py triton.protoset && npm install && node rotate.js
import { readFileSync, writeFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';

const protocol = loadFileDescriptorSetFromBuffer(readFileSync('triton.protoset'), { keepCase: true });
const { GRPCInferenceService } = grpc.loadPackageDefinition(protocol).inference;
const client = new GRPCInferenceService(process.env.RESPIN_URL ?? '127.0.0.1:8001', grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': 256 * 1024 * 1024,
});

// An element of a BYTES tensor is preceded by its length in 4 bytes, little-endian.
function bytes(content) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(content.length);
  return Buffer.concat([length, content]);
}
const floats = (...numbers) => Buffer.from(new Float32Array(numbers).buffer);

const inputs = [
  { name: 'image', datatype: 'BYTES', shape: [1], raw: bytes(readFileSync('../coffee.png')) },
  { name: 'class_name', datatype: 'BYTES', shape: [1], raw: bytes(Buffer.from('coffee cup')) },
  { name: 'box', datatype: 'FP32', shape: [4], raw: floats(165, 12, 428, 312) },
  { name: 'azimuth', datatype: 'FP32', shape: [2], raw: floats(-40, 40) },
];
const call = client.ModelStreamInfer({ deadline: Date.now() + 300_000 });
function fail(message) {
  console.error(message);
  process.exitCode = 1;
}
call.on('data', ({ error_message: error, infer_response: { outputs, raw_output_contents: raw } }) => {
  if (error) return fail(error); // NOT_FOUND: no coffee cup found ...
  const event = Object.fromEntries(outputs.map(({ name }, index) => [name, raw[index]]));
  const text = (name) => event[name].subarray(4).toString();
  const number = (name) => event[name].readInt32LE();
  console.log(text('stage'), number('step'), 'of', number('steps'));
  if (event.image) writeFileSync(`turned-${number('view')}.png`, event.image.subarray(4));
});
call.on('error', ({ code, details }) => fail(`${grpc.status[code]}: ${details}`));
call.on('status', () => client.close());
call.write({
  model_name: 'rotate_object_stream',
  inputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
  outputs: ['stage', 'view', 'step', 'steps', 'image'].map((name) => ({ name })),
  raw_input_contents: inputs.map(({ raw }) => raw),
});
call.end();
