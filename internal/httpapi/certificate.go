package httpapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"github.com/sentinel-peer/sentinel-peer/internal/aside"
)

// Certificate is the certificate of a server, read from two PEM files.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads a certificate with its chain, and its key.
func LoadCertificate(ctx context.Context, certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	return c, c.Reload(ctx)
}

// Reload reads the files again for the handshakes from now on. After an error the old certificate
// stays in force.
func (c *Certificate) Reload(ctx context.Context) error {
	pair, err := ReadPair(ctx, c.certFile, c.keyFile)
	if err == nil {
		c.current.Store(&pair)
	}
	return err
}

// ReadPair reads a certificate with its chain, and its key.
func ReadPair(ctx context.Context, certFile, keyFile string) (tls.Certificate, error) {
	chain, err := aside.ReadFile(ctx, certFile)
	var key aside.File
	if err == nil {
		key, err = aside.ReadFile(ctx, keyFile)
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(chain.Text, key.Text)
	}
	if err != nil {
		return pair, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
