// Package mcpbridge speaks MCP on standard input and output as a client of a daemon's
// streamable HTTP: each line that comes in is posted to the daemon, and each message it
// answers is a line that goes out. It knows nothing of tools.
//
// What it keeps is the id of the daemon's session and the resources the client subscribed
// to. A daemon that restarts makes the session anew; the bridge subscribes again, and
// tells the client that the resources may have changed. Meanwhile each request is
// answered by an error that says so.
//
// It keeps the session's stream open from the greeting on: when it is killed, the daemon
// sees that its client is gone. Calls under way end soon after the client's input does.
//
// A line that is no message is answered by an error and ends nothing.
//
// The transports of the MCP SDK are not used: a session of the daemon's that is gone breaks its
// client's connection for good (mcp.ErrSessionMissing), and a line that is no JSON ends its
// mcp.IOTransport.
package mcpbridge
