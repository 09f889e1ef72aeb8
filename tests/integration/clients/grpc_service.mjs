// What client and server agree on: messages are JSON, so that no compiler is needed.
const message = {
  serialize: (value) => Buffer.from(JSON.stringify(value)),
  deserialize: (bytes) => JSON.parse(bytes.toString()),
};
const method = (path, responseStream) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: message.serialize,
  requestDeserialize: message.deserialize,
  responseSerialize: message.serialize,
  responseDeserialize: message.deserialize,
});
export const service = { echo: method("/test.Echo/Echo", false), count: method("/test.Echo/Count", true) };
