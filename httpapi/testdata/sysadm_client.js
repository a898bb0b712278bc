// What sysadm's clients for node do, with the library they use: log in and ask
// without waiting, drop the first answer, and print the others as they come.
const WebSocket = require("ws");

const [endpoint, user, password] = process.argv.slice(2);
const socket = new WebSocket(endpoint, { rejectUnauthorized: false });
let answers = 0;

socket.on("open", () => {
  socket.send(JSON.stringify({ namespace: "rpc", name: "auth", id: "authrequest", args: { username: user, password: password } }));
  socket.send(JSON.stringify({ namespace: "events", name: "subscribe", id: "fooid", args: ["dispatcher", "life-preserver"] }));
});
socket.on("message", (message) => {
  answers++;
  if (answers === 1) return; // of auth
  console.log(message.toString());
  if (answers === 3) socket.close(); // the answer, and an event
});
socket.on("error", (error) => { console.error(error.message); process.exit(1); });
socket.on("close", (code) => process.exit(code === 1005 ? 0 : 2));
