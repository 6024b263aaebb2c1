// Package mcpbridge speaks MCP on standard input and output, as a client of a daemon's streamable
// HTTP: it posts each line of the input to the daemon, and writes each message of the answers as a
// line. It knows nothing of tools.
//
// The bridge keeps the id of the daemon's session, and the resources to which the client has
// subscribed. A daemon that restarts makes the session anew; the bridge then subscribes again, and
// tells the client that the resources may have changed. While there is no daemon, each request is
// answered by an error that says so.
//
// The bridge keeps the session's stream open from the initialize request on, so that the daemon
// sees when the bridge is killed. Calls under way end soon after the client's input does.
//
// A line that is not a message is answered by an error, and ends nothing.
//
// The transports of the MCP SDK are not used, as of v1.8.0. When the session of a daemon is gone, each
// later write of the SDK's client fails (mcp.ErrSessionMissing). After one line that is not JSON
// mcp.IOTransport reads nothing more. Ids beyond 53 bits are changed (docs/decisions/0034).
package mcpbridge
