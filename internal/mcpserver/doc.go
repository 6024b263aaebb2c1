// Package mcpserver serves a peer to AI agents by the Model Context Protocol: tools that
// store, search and watch shared memory, take tasks and locks, and see the fleet; and
// resources, keys that clients read and subscribe to.
//
// # Where things live
//
// Key k of namespace n is the key memory/n/k of the peer, and a key that starts with
// task-sentinel/ is that key itself; the namespace task-sentinel is that tree. A slash or
// percent sign in a namespace is escaped, so that two namespaces never share a key.
//
// Beside each key that a tool wrote stands mcp/<key>: who wrote it (client, session and
// token) and when it was made. Both are one unit of writes with one stamp. A value with
// another stamp was written past the tools; then its peer is named as its writer, and
// its time is when it was written. How often a key was retrieved is counted by each
// daemon for itself, and forgotten when it stops.
//
// # Rules
//
//   - A request's id comes back as the client wrote it; the SDK sees ids of ours.
//   - A session can be made anew from its id, by any daemon; a lease or a claim is enough
//     to go on with it. What is held for a client ends with its session or token, and
//     not with the daemon. A call ends when its client goes.
//   - The grant of each request counts, not that of the session's first one.
//   - Tools act through the operations of internal/api, which check rights. What streams
//     has none: memory_watch and subscriptions check theirs.
//   - What is read is read liberally: numbers as text, aliases, unknown arguments are
//     named in warnings, and refused if they look like known ones that are misspelt. What is answered has one form.
//   - An answer holds at most 32 KiB of text, and says where it goes on.
//   - A failure says what to do next.
//   - Nothing a client does, or fails to do, is waited for by the merge of writes: each
//     subscribed resource has a goroutine that drops what it cannot tell in time, and
//     every write to a client has a deadline.
package mcpserver
