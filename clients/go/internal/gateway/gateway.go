// Package gateway runs a real gateway for tests, and kills it.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Gateway is a process with a log that outlives it.
type Gateway struct {
	// Address is host and port, for HTTP and gRPC; it stays the same.
	Address string
	// Kills counts.
	Kills int

	program, folder string
	arguments       []string
	process         *exec.Cmd
}

// Start starts the program on a free port of loopback, with its log below folder.
func Start(program, folder string, arguments ...string) (*Gateway, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()

	g := &Gateway{Address: address, program: program, folder: folder, arguments: arguments}
	return g, g.StartAgain()
}

// StartAgain starts it on the log that it left, and waits until it is ready.
func (g *Gateway) StartAgain() error {
	output, err := os.OpenFile(
		filepath.Join(g.folder, "gateway.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()

	data := filepath.Join(g.folder, "log")
	arguments := append([]string{"serve", "--data-dir", data, "--listen", g.Address}, g.arguments...)
	g.process = exec.Command(g.program, arguments...)
	g.process.Stdout, g.process.Stderr = output, output
	if err := g.process.Start(); err != nil {
		return err
	}
	return g.waitUntilReady()
}

// Kill is SIGKILL: it closes nothing and syncs nothing.
func (g *Gateway) Kill() {
	_ = g.process.Process.Kill()
	_ = g.process.Wait()
	g.Kills++
}

// URL is its address for HTTP.
func (g *Gateway) URL() string { return "http://" + g.Address }

func (g *Gateway) waitUntilReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	for ctx.Err() == nil {
		if isReady(ctx, g.URL()) {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}

	log, _ := os.ReadFile(filepath.Join(g.folder, "gateway.log"))
	return errors.Join(ctx.Err(), fmt.Errorf("the gateway is not ready:\n%s", log))
}

func isReady(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
