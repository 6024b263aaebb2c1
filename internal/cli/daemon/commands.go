package daemon

import "github.com/spf13/cobra"

// Commands are those of this package, in a program of this version.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{newAgent(version), newConfig(), newDoctor(), newKeygen()}
}
