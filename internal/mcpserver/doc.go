// Package mcpserver serves a peer to AI agents by the Model Context Protocol. It has tools that
// store, search and watch shared memory, take tasks and locks, and show the fleet; and resources,
// which are keys that clients read and subscribe to.
//
// # Where values are stored
//
// Key k of namespace n is the key memory/n/k of the peer. A key that starts with task-sentinel/ is
// that key itself, and the namespace task-sentinel is that tree. A slash or percent sign in a
// namespace is escaped, so that two namespaces never share a key.
//
// For each key that a tool wrote, the key mcp/<key> holds the author (client, session and token)
// and when the key was created. Both are written as one batch with one stamp. A value with another
// stamp was written without a tool; its author is then its peer, and its time that of the write.
// Each daemon counts by itself how often a key was retrieved, and forgets that when it stops.
//
// # Rules
//
//   - A response has the id of its request byte for byte; the SDK sees ids of this package.
//   - Any daemon can make a session anew from its id, and go on with a lease or a claim. What a
//     daemon holds for a client ends with the client's session or token, not with the daemon.
//     A call ends when its client goes.
//   - The grant of each request counts, not that of the first request of a session.
//   - Tools act through the operations of internal/api, which check rights. The streams are no
//     operations: memory_watch and subscriptions check rights themselves.
//   - Arguments are read liberally: numbers as text, and aliases. Unknown arguments are named in
//     warnings, and refused if they look like misspelt known ones. Answers have one form.
//   - An answer holds at most 32 KiB of text, and says how to get the rest.
//   - An error says what to do next.
//   - The merge of writes never waits for a client: each subscribed resource has a goroutine that
//     drops the updates it cannot send in time, and every write to a client has a deadline.
package mcpserver
