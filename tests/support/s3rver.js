// s3rver on 127.0.0.1, a second opinion of S3: node tests/support/s3rver.js PACKAGE DIRECTORY
// Prints "ready PORT PID" and serves until it gets a SIGTERM; then it removes the directory it kept the objects in.
'use strict';
const fs = require('fs');
const [, , S3rver, directory] = process.argv;
const end = () => {
  fs.rmSync(directory, { recursive: true, force: true });
  process.exit(0);
};
process.on('SIGTERM', end);
process.on('SIGINT', end);
new (require(S3rver))({ address: '127.0.0.1', port: 0, silent: true, directory, vhostBuckets: false, resetOnClose: false }).run((err, address) => {
  if (err) throw err;
  console.log(`ready ${address.port} ${process.pid}`);
});
