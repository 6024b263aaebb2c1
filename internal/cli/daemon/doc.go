// Package daemon is the agent command, which runs a peer, and the commands about its settings:
// config, doctor and keygen.
package daemon
