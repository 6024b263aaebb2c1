package hold

import (
	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/client"
)

// Commands returns the lock command, which sends its requests by c, and the hidden commands.
func Commands(c *client.Client) []*cobra.Command { return append(hidden(), newLock(c)) }
