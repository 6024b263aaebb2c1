// Package daemon is the agent command, and those about its settings: config, doctor, keygen.
package daemon
