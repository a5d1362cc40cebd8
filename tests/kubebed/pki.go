package main

// What the parts of the cluster know each other by: a certificate authority, the certificate of
// the servers, the key of service-account tokens, and the static tokens of people.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// adminToken may do everything. The token kubebed-nobody may do nothing; more come with --token.
const adminToken = "kubebed-admin"

// pki is the path of a file with keys, certificates or tokens.
func (o options) pki(name string) string { return filepath.Join(o.dir, "pki", name) }

// writePKI makes all of it anew, and the admin's kubeconfig.
func writePKI(o options) error {
	if err := os.MkdirAll(o.pki(""), 0o755); err != nil {
		return err
	}
	tmpl := func(cn string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := tmpl("kubebed-ca", 1)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	ca, _ = x509.ParseCertificate(caDER)
	srvKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	srv := tmpl("kube-apiserver", 2)
	srv.KeyUsage, srv.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	srv.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	srv.IPAddresses = []net.IP{net.ParseIP("127.0.0.1")}
	srvDER, err := x509.CreateCertificate(rand.Reader, srv, ca, &srvKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	saKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	srvKeyDER, _ := x509.MarshalPKCS8PrivateKey(srvKey)
	saKeyDER, _ := x509.MarshalPKCS8PrivateKey(saKey)
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	tokens := adminToken + ",admin,admin,system:masters\nkubebed-nobody,nobody,nobody\n"
	for _, t := range o.tokens { // token,user,uid,"group,group"
		tokens += t + "\n"
	}
	kubeconfig := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: kubebed
clusters:
- name: kubebed
  cluster: {server: "https://127.0.0.1:%d", certificate-authority-data: %s}
users:
- name: admin
  user: {token: %s}
contexts:
- name: kubebed
  context: {cluster: kubebed, user: admin, namespace: default}
`, o.port, b64(caPEM), adminToken)
	for path, data := range map[string][]byte{
		o.pki("ca.crt"):     caPEM,
		o.pki("server.crt"): pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srvDER}),
		o.pki("server.key"): pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: srvKeyDER}),
		o.pki("sa.key"):     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: saKeyDER}),
		o.pki("tokens.csv"): []byte(tokens),
		o.kubeconfig:        []byte(kubeconfig),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
