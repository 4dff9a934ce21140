<?php

declare(strict_types=1);

use Vidette\Exception;
use Vidette\Received;
use Vidette\Subscription;

/** One subscription. The next event may have been asked for ahead of the next take. */
final class Reading
{
    private ?Received $held = null;
    private int $wanted = 0;
    private bool $ahead = false;
    private bool $closed = false;

    public function __construct(public readonly Subscription $events)
    {
    }

    public function take(?int $count): void
    {
        $this->wanted = $count ?? PHP_INT_MAX;
    }

    public function askAhead(): void
    {
        $this->ahead = true;
    }

    public function close(): void
    {
        $this->closed = true;
        $this->events->close();
    }

    /** Runs in a fiber. */
    public function run(): void
    {
        try {
            $this->follow();
        } catch (Exception\GapException $error) {
            say('error', ['kind' => 'gap', 'message' => $error->getMessage()]);
        } catch (Exception\StatusException $error) {
            say('error', ['kind' => 'status', 'status' => $error->status, 'message' => $error->getMessage()]);
        } catch (Exception\ProtocolException $error) {
            say('error', ['kind' => 'protocol', 'message' => $error->getMessage()]);
        } catch (Exception\EventTooLargeException $error) {
            say('error', ['kind' => 'too_large', 'message' => $error->getMessage()]);
        } catch (Throwable $error) {
            say('error', ['kind' => 'other', 'message' => (string) $error]);
        }
        say('ended');
    }

    private function follow(): void
    {
        $iterator = $this->events->getIterator();
        $isStarted = false;

        while (!$this->closed) {
            if ($this->held === null && ($this->wanted > 0 || $this->ahead)) {
                $this->ahead = false;
                $isStarted ? $iterator->next() : $iterator->rewind();
                $isStarted = true;
                if (!$iterator->valid()) {
                    return;
                }
                $this->held = $iterator->current();
            } elseif ($this->held !== null && $this->wanted > 0) {
                $this->wanted--;
                sayEvent($this->held);
                $this->held = null;
            } else {
                $isWanted = fn (): bool => $this->closed || $this->wanted > 0 || ($this->ahead && $this->held === null);
                Fiber::suspend(['when' => $isWanted]);
            }
        }
    }
}
