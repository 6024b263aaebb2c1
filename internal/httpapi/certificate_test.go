package httpapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentinel-peer/sentinel-peer/agent"
	"github.com/sentinel-peer/sentinel-peer/gossip/transport/memnet"
)

// certify writes a self-signed certificate for localhost, and returns it.
func certify(t *testing.T, certFile, keyFile string) *x509.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// real serves an agent on a real address.
func real(t *testing.T, tune func(*Config)) (addr string, s *Server) {
	n, err := memnet.New(1).Listen("10.0.0.1:7946")
	if err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(t.Context(), agent.Config{Name: "n1", Cluster: "test", Bind: "10.0.0.1:7946", Network: n, Keys: [][]byte{make([]byte, 32)}, BatchInterval: agent.AtOnce})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Agent: a, Logger: slog.New(slog.DiscardHandler)}
	if tune != nil {
		tune(&cfg)
	}
	s = Serve(l, cfg)
	t.Cleanup(func() { x := &fixture{t: t, agent: a, server: s}; x.close() })
	return l.Addr().String(), s
}

func TestTLSTakesANewCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	first := certify(t, certFile, keyFile)
	c, err := LoadCertificate(t.Context(), certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := real(t, func(cfg *Config) { cfg.Certificate = c })
	get := func(trusted *x509.Certificate, most uint16) (*http.Response, error) {
		pool := x509.NewCertPool()
		pool.AddCert(trusted)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: most}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("https://" + addr + "/healthz")
		if err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		return res, err
	}
	if res, err := get(first, 0); err != nil || res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("%v, %v", res, err)
	}
	if _, err := get(first, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if err := os.WriteFile(certFile, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(t.Context()); err == nil {
		t.Error("a broken file is taken")
	}
	if _, err := get(first, 0); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	second := certify(t, certFile, keyFile)
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := get(second, 0); err != nil {
		t.Errorf("after a reload: %v", err)
	}
	if _, err := get(first, 0); err == nil {
		t.Error("the old certificate is still shown")
	}
}
