package main

// Servers without processes: a container whose image is stubbed with `serve` is answered for by the agent itself, on
// the first port of the container at the pod's own address. A test can so have thousands of servers.

import (
	"fmt"
	"net"
	"net/http"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// hubVersion is what a server of stock's tells the hub in its answers.
const hubVersion = "6.1.1"

// serve answers every request with an empty JSON object until the pod is to end.
func (p *podRun) serve(c *v1.Container) error {
	if len(c.Ports) == 0 {
		return fmt.Errorf("container %s names no port to serve", c.Name)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(p.ip, strconv.Itoa(int(c.Ports[0].ContainerPort))))
	if err != nil {
		return err
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-JupyterHub-Version", hubVersion)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("{}"))
	})}
	go server.Serve(l) // ends with the listener
	go func() {
		<-p.stopping
		server.Close()
	}()
	return nil
}
