// Package network is a network between tests and a gateway that can break.
package network

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Network forwards connections to one address.
type Network struct {
	// Address is where to connect to.
	Address string

	to       string
	listener net.Listener
	mutex    sync.Mutex
	pairs    map[*pair]struct{}
}

// pair is one connection, from both sides.
type pair struct {
	client, server *net.TCPConn
	isSilent       atomic.Bool
}

// Before is a network before this address.
func Before(to string) (*Network, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	made := &Network{
		Address: listener.Addr().String(), to: to, listener: listener,
		pairs: map[*pair]struct{}{},
	}
	go made.accept()
	return made, nil
}

// Close takes no more connections, and resets those that are open.
func (n *Network) Close() {
	_ = n.listener.Close()
	n.Cut(func() bool { return true })
}

// Cut resets each connection with this chance, and says how many.
func (n *Network) Cut(chance func() bool) int {
	cut := 0
	for _, pair := range n.all() {
		if chance() {
			pair.reset()
			cut++
		}
	}
	return cut
}

// Silence lets nothing more through on each connection with this chance, as behind a router that
// has forgotten it, and says how many.
func (n *Network) Silence(chance func() bool) int {
	silenced := 0
	for _, pair := range n.all() {
		if chance() {
			pair.isSilent.Store(true)
			silenced++
		}
	}
	return silenced
}

func (n *Network) all() []*pair {
	n.mutex.Lock()
	defer n.mutex.Unlock()

	var all []*pair
	for pair := range n.pairs {
		all = append(all, pair)
	}
	return all
}

func (n *Network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		go n.connect(client.(*net.TCPConn))
	}
}

func (n *Network) connect(client *net.TCPConn) {
	server, err := net.Dial("tcp", n.to)
	if err != nil {
		_ = client.Close()
		return
	}

	made := &pair{client: client, server: server.(*net.TCPConn)}
	n.mutex.Lock()
	n.pairs[made] = struct{}{}
	n.mutex.Unlock()

	var both sync.WaitGroup
	both.Add(2)
	go made.carry(made.server, client, &both)
	go made.carry(client, made.server, &both)
	both.Wait()

	n.mutex.Lock()
	delete(n.pairs, made)
	n.mutex.Unlock()
}

// carry ends one direction when its source does, and both at an error.
func (p *pair) carry(to, from *net.TCPConn, both *sync.WaitGroup) {
	defer both.Done()

	_, err := io.Copy(quiet{p, to}, from)
	if err != nil {
		p.reset()
		return
	}
	_ = to.CloseWrite()
}

func (p *pair) reset() {
	for _, side := range []*net.TCPConn{p.client, p.server} {
		_ = side.SetLinger(0)
		_ = side.Close()
	}
}

// quiet drops what is written while the connection is silent.
type quiet struct {
	pair *pair
	to   *net.TCPConn
}

func (q quiet) Write(bytes []byte) (int, error) {
	if q.pair.isSilent.Load() {
		return len(bytes), nil
	}
	return q.to.Write(bytes)
}
