// Package mcpbridge speaks MCP on standard input and output as a client of a daemon's
// streamable HTTP: each line that comes in is posted to the daemon, and each message it
// answers is a line that goes out. It knows nothing of tools.
//
// What it keeps is what makes the daemon's session: its id, the client's greeting and
// the resources it subscribed to. When the daemon restarts the bridge greets it again
// with those, and tells the client that the resources may have changed. Meanwhile each
// request is answered by an error that says so.
//
// A line that is no message is answered by an error and ends nothing.
package mcpbridge
