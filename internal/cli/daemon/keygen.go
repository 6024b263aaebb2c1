package daemon

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sentinel-peer/sentinel-peer/internal/cli/command"
)

func newKeygen() *cobra.Command {
	return &cobra.Command{
		Use:     "keygen [FILE]",
		Short:   "Write a new key for --key-file to a file that only its owner may read, or print it",
		Example: "  sentinel-peer keygen key",
		Args:    command.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, list []string) error {
			if len(list) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), NewKey())
				return err
			}
			f, err := os.OpenFile(list[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if err != nil {
				return command.Usage(err) // an existing key may be in use, so it is not replaced
			}
			_, err = fmt.Fprintln(f, NewKey())
			return errors.Join(err, f.Close())
		},
	}
}

// NewKey returns 32 random bytes as a line of a key file.
func NewKey() string {
	var key [32]byte
	rand.Read(key[:])
	return base64.StdEncoding.EncodeToString(key[:])
}
