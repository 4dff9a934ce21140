<?php

declare(strict_types=1);

namespace Vidette\Tests;

use PHPUnit\Framework\TestCase;
use Vidette\Exception\EventTooLargeException;
use Vidette\Internal\Block;
use Vidette\Internal\BlockParser;

final class BlockParserTest extends TestCase
{
    private const STREAM = "\xEF\xBB\xBFid: 1-aaaaaa\r\nevent: opened\r\ndata: {\"a\":\r\ndata:\"€\"}\r\n\r\n"
        . ": comment\n\nid: 2-aaaaaa\n\nretry: 50\rdata:x\r\rid: 3\0\ndata\n\nid: 4-aaaaaa\ndata: not complete";

    public function testBytesMayBeSplitAnywhere(): void
    {
        $whole = (new BlockParser(1000))->feed(self::STREAM);

        self::assertEquals([
            new Block('1-aaaaaa', 'opened', "{\"a\":\n\"€\"}", null),
            new Block('2-aaaaaa', '', null, null),
            new Block(null, '', 'x', 50),
            new Block(null, '', '', null),
        ], $whole);

        for ($at = 0; $at <= strlen(self::STREAM); $at++) {
            $parser = new BlockParser(1000);
            $blocks = [...$parser->feed(substr(self::STREAM, 0, $at)), ...$parser->feed(substr(self::STREAM, $at))];
            self::assertEquals($whole, $blocks, "split at $at");
        }
    }

    public function testEveryByteAloneGivesTheSame(): void
    {
        $parser = new BlockParser(1000);
        $blocks = array_merge(...array_map($parser->feed(...), str_split(self::STREAM)));

        self::assertEquals((new BlockParser(1000))->feed(self::STREAM), $blocks);
    }

    public function testALineThatNeverEndsIsNotKept(): void
    {
        $parser = new BlockParser(1000);
        $parser->feed('data: ' . str_repeat('x', 900));

        $this->expectException(EventTooLargeException::class);
        $parser->feed(str_repeat('x', 100));
    }

    public function testManyShortDataLinesAreBoundedTogether(): void
    {
        $this->expectException(EventTooLargeException::class);
        (new BlockParser(1000))->feed(str_repeat("data: x\n", 600));
    }
}
